"""The log, looked at by a person or by a program."""
