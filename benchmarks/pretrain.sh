#!/usr/bin/env bash
# Trains the runs of pretrained/ anew, keeps their weights in half precision, and scores what is kept.
# The better part of an hour on 2 cores. One of them alone: bash benchmarks/pretrain.sh chars
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-}
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

make() {
  local script=$1 name=$2
  shift 2
  if [ -n "$only" ] && [ "$only" != "$script" ]; then return; fi
  python "$script.py" -T "$runs" --name "$name" "$@"
  python benchmarks/pack.py "$runs/$script/$name" "pretrained/$script/$name"
  python "$script.py" --eval "pretrained/$script/$name"
}

make sentences pydocs -e 20
make names_vae names -e 20
make transformer_vae pylines -L 144 -e 24 --noise-probability 0.35 --noise-level 0.88
make chars pydocs --num-layers 2 --dropout 0.25 -e 16 -l 3e-3
