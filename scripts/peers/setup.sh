#!/bin/sh
# Creates environments for the other libraries in FOLDER/rectools and FOLDER/replay: sh scripts/peers/setup.sh FOLDER
set -eu
folder=${1:?name a folder}
python=${PYTHON:-python3.11}
"$python" -m venv "$folder/rectools"
# rectools 0.19 requires numpy<2, with which newer pyarrow cannot be imported
"$folder/rectools/bin/pip" install --quiet torch==2.13.0 "rectools[torch]==0.19.0" "pyarrow<20"
"$python" -m venv "$folder/replay"
"$folder/replay/bin/pip" install --quiet torch==2.13.0 "replay-rec[torch]==0.22.0" openvino
