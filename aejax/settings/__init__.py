"""Settings: a class declares its fields as leaves or as structure, and one check builds objects from a configuration.

In: a composed configuration, and classes with such fields. Out: objects whose every value was checked.
Imports: compat, base.
"""
