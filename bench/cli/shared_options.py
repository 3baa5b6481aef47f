"""Options that several commands have."""

import click

_FOLDER, _FILE = click.Path(file_okay=False), click.Path(dir_okay=False)
STORE = click.option("--store", type=_FOLDER, help="Folder of the artifacts; default: $BENCH_STORE.")
DATA = click.option("--data", type=_FOLDER, help="Folder of the datasets; default: $BENCH_DATA.")
PLUGINS = click.option("--plugin", "plugins", multiple=True, type=_FILE, help="A single-file plugin.")
