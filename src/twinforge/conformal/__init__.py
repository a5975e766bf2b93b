"""Distribution-free guarantees: arrays in, arrays out."""
