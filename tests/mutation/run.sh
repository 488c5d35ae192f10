#!/usr/bin/env sh
# Change facemask/$1.py in one place at a time and see whether its tests notice. Run it in a clone: it edits.
set -eu
config="tests/mutation/$1.toml" session="mutation-$1.sqlite"
rm -f "$session"
cosmic-ray init "$config" "$session"
cosmic-ray baseline "$config"
cr-filter-operators "$session" "$config"
cosmic-ray exec "$config" "$session"
cr-report "$session" --show-diff --surviving-only
cr-rate "$session"
