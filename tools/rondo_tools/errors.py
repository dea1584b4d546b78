"""The error that says the input or the configuration is wrong."""


class UserError(Exception):
    """Message: subject, found, expected, way out. Printed once by the tool, exit code 2."""
