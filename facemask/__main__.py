"""`python -m facemask`: the command line without an installed command."""

from facemask.cli import app

app(prog_name="facemask")
