"""What a fit says where the data do not suffice; every other error of the core is a bug."""


class TooLittleData(ValueError):
    """There are too few rows, instants, symbols or classes for what was asked."""
