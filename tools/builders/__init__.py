"""How each shipped data set is made from its source; run by ``tools/build_datasets.py``."""
