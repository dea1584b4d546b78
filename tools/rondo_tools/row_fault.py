"""RowFault: why a row of a source cannot be used."""


class RowFault(Exception):
    """A row that cannot be used: `reason` is one of few fixed texts (counted), `detail` is free."""

    def __init__(self, reason, detail=""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
