"""Examples, codes and results as files: arrays, tables, pictures and folders of pictures."""
