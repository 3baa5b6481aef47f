#!/usr/bin/env bash
# onnxruntime 1.32.0 (the wheel for Linux, with numpy 2.4.6): usage data are collected by default.
#
# `import onnxruntime` writes a session identifier into $TMPDIR/.ses, and a device identifier and an SQLite file into
# ~/.cache/Microsoft/DeveloperTools/.onnxruntime. The file has events, among them one about the process with the
# operating system; some seconds later the process asks for the address of mobile.events.data.microsoft.com (seen with
# strace; not repeated here). onnxruntime.disable_telemetry_events() comes after the import and leaves the files. With the
# environment variable ORT_DISABLE_TELEMETRY=1 nothing is written.
#
# Guessed before: that importing an inference library writes nothing, as the wheels for Linux did for years, and that
# only the builds for Windows collect usage data.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q onnxruntime==1.32.0 numpy==2.4.6

written() {
  mkdir -p "$work/$1/home" "$work/$1/tmp"
  (unset XDG_CACHE_HOME; HOME="$work/$1/home" TMPDIR="$work/$1/tmp" "${@:3}" "$work/venv/bin/python" -c "$2")
  (cd "$work/$1" && find . -type f ! -name '*-wal' ! -name '*-shm' ! -name '*-journal' | sort)
}

expected="./home/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid
./home/.cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db
./tmp/.ses"
plain=$(written plain "import onnxruntime" env -u ORT_DISABLE_TELEMETRY)
late=$(written late "import onnxruntime; onnxruntime.disable_telemetry_events()" env -u ORT_DISABLE_TELEMETRY)
off=$(written off "import onnxruntime" env ORT_DISABLE_TELEMETRY=1)
printf 'import:\n%s\ndisabled after the import:\n%s\nORT_DISABLE_TELEMETRY=1: %s\n' "$plain" "$late" "${off:-nothing}"
[ "$plain" = "$expected" ]
[ "$late" = "$expected" ]
[ -z "$off" ]
