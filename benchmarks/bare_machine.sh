#!/usr/bin/env bash
# Run a command on a machine without network that has torch, numba and Python 3.12, but not all packages of
# pyproject.toml. Left out is what a kernel does without: the completion of code, the debugger, the files of browsers.
#   bash benchmarks/bare_machine.sh download                          # with network: wheels into the folder .whl, 51 MB
#   bash benchmarks/bare_machine.sh python3 benchmarks/gpu.py         # there; .whl, which git ignores, goes along
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" = download ]; then
  platforms=(); for n in 2_5 2_12 2_17 2_24 2_26 2_27 2_28 2_31 2_34 2_35; do platforms+=(--platform "manylinux_${n}_x86_64"); done
  exec python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    "${platforms[@]}" --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform any --dest .whl \
    anywidget asttokens av beautifulsoup4 comm entrypoints executing fastjsonschema gdown glfw ipykernel ipython \
    ipython_pygments_lexers ipywidgets jsonschema jsonschema_specifications jupyter_client jupyter_core \
    matplotlib-inline mujoco==4.0.0 mujoco-core==4.0.0 nbclient nbformat nest-asyncio2 papermill pexpect platformdirs \
    prompt_toolkit psygnal ptyprocess pure_eval PySocks pyzmq referencing rpds-py soupsieve stack_data tenacity \
    tornado traitlets wcwidth
fi
site=${TMPDIR:-/tmp}/vidseg-site
[ -d "$site" ] || python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl
export PYTHONPATH=$PWD:$site JUPYTER_PATH=$site/share/jupyter OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
exec "$@"
