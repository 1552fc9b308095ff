"""A package of the programs' own."""
