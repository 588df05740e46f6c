#!/usr/bin/env bash
# On the machine, after every copy: what is whole of the parts that have come so far goes to a folder.
#   unpack.sh PARTS WORK      WORK/repository, WORK/data, and WORK/oodbench, a command
set -euo pipefail
parts=$(realpath "$1") python=${PYTHON:-python3}
mkdir -p "$2/new"
cd "$2"
work=$PWD
cat "$parts"/part.* | tar -C new -xf - 2> /dev/null || true # the last file is cut off until the next part comes
(cd new && { sha256sum -c SHA256SUMS 2> /dev/null || true; }) | sed -n 's/: OK$//p' | while read -r file; do
  [ -e "$file" ] && continue # somebody may be reading it
  mkdir -p "$(dirname "$file")"
  mv "new/$file" "$file"
  echo "$file"
done
rm -rf new
if [ -e repository.tar ] && [ ! -e oodbench ]; then # the wheels came before it
  mkdir -p repository
  tar -C repository -xf repository.tar
  "$python" -m pip install -q --no-index --no-deps --target site wheels/*.whl
  cat > oodbench << END
#!/bin/sh
export PYTHONPATH="$work/repository/src:$work/site" OODBENCH_OFFLINE=1 OODBENCH_DATA="$work/data" \\
  OODBENCH_CACHE="$work/cache" TORCHINDUCTOR_CACHE_DIR="$work/inductor"
exec "$python" -m oodbench.commands.main "\$@"
END
  chmod +x oodbench
fi
