"""Options that several sub-commands share, so that they have one name, one default and one explanation."""

from __future__ import annotations

from pathlib import Path

import click

from lungct.file_names import packaged_models

existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
any_path = click.Path(path_type=Path)

data_option = click.option(
    "--data",
    type=existing_folder,
    envvar="LUNGCT_DATA",
    show_envvar=True,
    required=True,
    help="Folder of the data sets.",
)
models_option = click.option(
    "--models",
    type=existing_folder,
    default=packaged_models,
    show_default="those that come with the package",
    help="Folder with one sub-folder of weights a network.",
)
settings_option = click.option(
    "--settings",
    type=existing_file,
    help="YAML file with a section 'lungct', as app.yaml has it; what it leaves out has its default.",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run; auto takes a GPU where there is one.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Start of the random numbers."
)
out_option = click.option(
    "-o", "--out", type=any_path, required=True, help="Folder for the results, made where missing."
)
log_level_option = click.option(
    "-l",
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
