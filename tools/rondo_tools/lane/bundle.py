"""The bundle that the lane runs out of: its places and its manifest."""

import hashlib
import json
from pathlib import Path

from rondo_tools.errors import UserError


class Bundle:
    def __init__(self, root):
        self.root = Path(root)
        self.programs = self.root / "bin"
        self.manifest = json.loads((self.root / "manifest.json").read_text(encoding="utf-8"))

    def program(self, name):
        return self.programs / name

    def check_files(self):
        """Throws when a file is missing or not the one that was bundled."""
        for entry in self.manifest["files"]:
            path = self.root / entry["path"]
            if not path.is_file():
                raise UserError(f"{path}: is missing. Unpack the bundle again.")
            if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                raise UserError(f"{path}: is not the file that was bundled. Unpack it again.")
