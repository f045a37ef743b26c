#!/usr/bin/env bash
# Builds the real image, runs it on a phantom, and compares its findings with those of the source tree.
# Needs Docker with buildx, the internet, about 20 GB of disk, and what `make setup` needs. Arguments go to `docker run`,
# for example: deploy/check_image.sh --gpus all
set -euo pipefail
cd "$(dirname "$0")/.."
make setup map
version=$(sed -n 's/^  version: //p' app.yaml)
image="lungct-x64-workstation-dgpu-linux-amd64:$version"
work=$(mktemp --directory)
trap 'rm --recursive --force "$work"' EXIT
mkdir --mode=777 "$work/image"

.venv/bin/lungct phantom "$work/study" --seed 1 --pattern covid --truth "$work/truth.json"
.venv/bin/python app -i "$work/study" -o "$work/source" -m models
chmod --recursive a+rX "$work"
docker run --rm "$image" show
docker run --rm --user 1000:1000 --network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --ulimit stack=33554432 --volume "$work/study:/var/holoscan/input:ro" --volume "$work/image:/var/holoscan/output" "$@" "$image"

.venv/bin/lungct evaluate phantom "$work/truth.json" "$work/image/result.json"
docker image inspect --format 'size: {{.Size}} bytes' "$image"
docker run --rm --entrypoint pip "$image" check
.venv/bin/python - "$work/source/result.json" "$work/image/result.json" << 'END'
import json
import sys

source, image = (json.load(open(path, encoding="utf-8"))["findings"] for path in sys.argv[1:])
assert image == source, "findings differ: expected between CPU and GPU, a fault on the same device"
print("the image finds what the source tree finds")
END
