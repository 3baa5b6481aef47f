"""A disk of another machine: what was absent seems to be so until its folder is listed, as on NFS."""

import os

from bench.store.store import Store


def unlisted_is_absent(monkeypatch):
    """Let a store find no artifact before the folders that it is in are listed."""
    listed, record = set(), Store.record

    def listing(function):
        def list_(path="."):
            listed.add(str(path))
            return function(path)

        return list_

    def read(self, key):
        group = self.root / "artifacts" / key[:2]
        return record(self, key) if {str(group), str(group.parent)} <= listed else None

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, listing(getattr(os, name)))
    monkeypatch.setattr(Store, "record", read)
