"""Token data on disk: an index file and a data file with the same prefix.

``formats``    file names, magic numbers, element types, and the errors of a damaged file
``mmap``       the usual format, read through a memory map
``tnt``        the format of Torch days ("lazy" and "cached")
``raw_text``   plain text, encoded when opened
``choose``     which format a prefix holds, and the reader or writer for it

``fairseq.data.indexed_dataset`` has all names in one place.
"""
