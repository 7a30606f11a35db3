"""Files to samples: readers and writers of every format, and the datasets built on them."""
