"""What tox.ini cannot say: `lowest-torch` is skipped, by its name, where no CPU build of that torch is at hand."""

import configparser
import re

from tox.execute.request import StdinSource
from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.errors import Skip


@impl
def tox_before_run_commands(tox_env: ToxEnv) -> None:
    """Ask pip for the torch and torchvision of setup.cfg's lower bounds, and download neither."""
    if tox_env.conf.name != "lowest-torch":
        return
    setup = configparser.ConfigParser()
    setup.read(tox_env.core["tox_root"] / "setup.cfg")
    bounds = re.findall(r"^(torch|torchvision)>=([\d.]+)$", setup["options"]["install_requires"], re.MULTILINE)
    builds = [f"{name}=={bound}.0+cpu" for name, bound in bounds]
    ask = ["python", "-I", "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", *builds]
    found = tox_env.execute(ask, stdin=StdinSource.OFF, show=False, run_id="lowest-torch")
    if found.exit_code:
        raise Skip(f"pip finds no {' and '.join(builds)} for this Python")
