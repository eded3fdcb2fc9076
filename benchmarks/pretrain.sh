#!/usr/bin/env bash
# Trains the runs of pretrained/ anew and shares them (share.py): with weights in half precision, samples and a card.
# About three hours on 2 cores. One of them alone: bash benchmarks/pretrain.sh chars
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
  # The scores are those of the weights in half precision: share, score, and share what has been scored.
  python share.py "$runs/$script/$name" "$runs/shared/$name" --license mit
  python "$script.py" --eval "$runs/shared/$name" ${scoring:-}
  rm -rf "pretrained/$script/$name"
  python share.py "$runs/shared/$name" "pretrained/$script/$name" --license mit
  rm -rf "$runs/shared/$name"
}

make sentences pydocs -e 20
scoring="--iw-samples 50" make sentences scenes -t scenes -b 128 -L 512 -l 4e-3 -e 9 --dropout 0.3
make names_vae names -e 20
make transformer_vae pylines -L 144 -e 24 --noise-probability 0.35 --noise-level 0.88
make chars pydocs --num-layers 2 --dropout 0.25 -e 16 -l 3e-3
make words scenes -t scenes -b 128 -l 4e-3 -e 6 --ema 0.999 --dropout 0.5 --input-dropout 0.25 --weight-drop 0.3
make text_gan scenes -t scenes -e 10
