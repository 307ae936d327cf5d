#!/usr/bin/env bash
# Seconds and memory that the compiler takes for typical programs, medians of ROUNDS (five) runs, interleaved, and for
# each public header alone, without code, in one run (HEADERS=no leaves them out), the slowest first. CXX names the
# compiler, EIGEN the folder with Eigen/Core.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cxx=${CXX:-c++}
eigen=${EIGEN:-/usr/include/eigen3}
rounds=${ROUNDS:-5}
cases=("umbrella -O0" "sd3_block -O2" "sd3_training -O2")
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Python's resource usage of children stands for time(1), which minimal systems lack.
measure='import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 2**20 if sys.platform == "darwin" else 2**10
print(f"{usage.ru_utime:.2f} {usage.ru_maxrss / unit:.0f}")'

for ((round = 0; round < rounds; ++round)); do
  for case in "${cases[@]}"; do
    read -r name level <<<"$case"
    python3 -c "$measure" "$cxx" -std=c++20 "$level" -march=native -I../../include -isystem "$eigen" \
      -c "$name.cpp" -o "$results/object.o" >>"$results/$name"
  done
done

median() { cut -d' ' -f"$1" | sort -n | sed -n "$((rounds / 2 + 1))p"; }
"$cxx" --version | head -n 1
for case in "${cases[@]}"; do
  name=${case% *}
  printf '%-14s %s  %6s s user  %5s MB\n' "$name" "${case#* }" "$(median 1 <"$results/$name")" "$(median 2 <"$results/$name")"
done

[[ ${HEADERS:-yes} == yes ]] || exit 0
echo
(cd ../../include && find aulos -name '*.hpp' | sort) | while read -r header; do
  echo "#include \"$header\"" >"$results/header.cpp"
  read -r seconds megabytes < <(python3 -c "$measure" "$cxx" -std=c++20 -march=native -I../../include \
    -isystem "$eigen" -fsyntax-only "$results/header.cpp")
  printf '%-50s %6s s user  %5s MB\n' "$header" "$seconds" "$megabytes"
done | sort -k2,2nr
