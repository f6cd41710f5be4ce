"""The sources of data, one module each: a class whose `load` gives a Dataset."""
