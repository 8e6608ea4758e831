"""Token data compressed with one Huffman code for the whole dataset. Needs bitarray.

``huffman_coder``                  the code: built from counts, kept in a ``.vocab`` file
``huffman_mmap_indexed_dataset``   the dataset: ``.idx``, ``.bin`` and ``.vocab``, read through a memory map
"""

from fairseq._lazy import attach

__all__ = [
    "HuffmanCodeBuilder",
    "HuffmanCoder",
    "HuffmanMMapIndex",
    "HuffmanMMapIndexedDataset",
    "HuffmanMMapIndexedDatasetBuilder",
    "vocab_file_path",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "HuffmanCodeBuilder": "huffman_coder",
        "HuffmanCoder": "huffman_coder",
        "HuffmanMMapIndex": "huffman_mmap_indexed_dataset",
        "HuffmanMMapIndexedDataset": "huffman_mmap_indexed_dataset",
        "HuffmanMMapIndexedDatasetBuilder": "huffman_mmap_indexed_dataset",
        "vocab_file_path": "huffman_mmap_indexed_dataset",
    },
)
