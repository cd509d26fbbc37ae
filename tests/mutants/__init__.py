"""Are the rules that matter held by a test? Each is broken in a copy, and a test must turn red.

`make mutants` runs all of them and prints the score.
"""
