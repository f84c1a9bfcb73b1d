#!/bin/sh
# Keeps parts that pack.sh made, and unpacks a bundle once all its parts are there and whole.
#
#   workshop/device/take.sh .dev/ort/ort.00 [PART...]     DEVICE_HOME=/tmp/vitrine-device
set -eu
home=${DEVICE_HOME:-/tmp/vitrine-device}
mkdir -p "$home/parts"
for part in "$@"; do
  cp "$part" "$home/parts/"
  bundle=$(basename "$part")
  bundle=${bundle%.*}
  list=$(dirname "$part")/$bundle.sha256
  [ -d "$home/zstandard" ] || python3 -m pip install -q --no-index --no-deps --no-compile --target "$home/zstandard" "$(dirname "$part")"/zstandard-*.whl
  if (cd "$home/parts" && sha256sum --quiet -c -) <"$list" >/dev/null 2>&1; then
    PYTHONPATH=$home/zstandard python3 - "$home" "$bundle" <<'PY'
import glob, io, sys, tarfile
import zstandard

home, bundle = sys.argv[1:]


class Parts(io.RawIOBase):
    """Files one behind the other."""

    def __init__(self, paths):
        self.files = [open(p, "rb") for p in paths]

    def readable(self):
        return True

    def readinto(self, into):
        while self.files:
            if n := self.files[0].readinto(into):
                return n
            self.files.pop(0).close()
        return 0


stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(Parts(sorted(glob.glob(f"{home}/parts/{bundle}.[0-9]*"))))
tarfile.open(fileobj=stream, mode="r|").extractall(home, filter="fully_trusted")
PY
    rm -f "$home/parts/$bundle".[0-9]*
    echo "$bundle: unpacked; $(du -sm "$home" | cut -f1) MB in all"
  else
    echo "$bundle: $(find "$home/parts" -name "$bundle.[0-9]*" | wc -l) of $(wc -l <"$list") parts"
  fi
done
