"""Compressed texts."""

import pytest

from fairseq.data.text_compressor import TextCompressionLevel, TextCompressor


@pytest.mark.parametrize("level", TextCompressionLevel)
def test_texts_come_back_from_their_compressed_form(level):
    if level == TextCompressionLevel.high:
        pytest.importorskip("unishox2")
    compressor = TextCompressor(level, max_input_byte_length=1000)
    text = "une phrase répétée " * 20
    packed = compressor.compress(text)
    assert compressor.decompress(packed) == text
    assert (len(packed) < 60) == (level != TextCompressionLevel.none)
    if level == TextCompressionLevel.high:
        with pytest.raises(ValueError, match="over the limit"):
            compressor.compress("x" * 1001)
