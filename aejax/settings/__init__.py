"""Settings: classes declare their fields as leaves or as structure, and one check builds objects from a configuration.

In: a composed configuration, and classes with such fields. Out: objects with checked values.
Imports: compat, base.
"""
