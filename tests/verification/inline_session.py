"""A session in this process, for tests of what it does: no torch is imported again."""

from bench.sandbox.child_processes import changed_environment


class InlineProcess:
    """Does the work of a `SupervisedProcess` at once."""

    def __init__(self, limit):
        self.process = self

    def submit(self, work, *arguments):
        sent = []
        with changed_environment({}):
            work(sent.append, *arguments)
        return iter(sent)

    def kill(self):
        pass

    def close(self):
        pass
