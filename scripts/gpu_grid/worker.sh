#!/usr/bin/env bash
# On the machine, several at once: carry out every line of a list, a sweep each, again and again until all are finished.
#   worker.sh LIST [override ...]      oodbench is on the PATH
# A run that another worker is at, that failed or that lacks its data is left for the next round.
set -u
list=$1
shift
left=1
while [ $left = 1 ]; do
  left=0
  while read -r -a line; do
    case ${line[*]} in "" | "#"*) continue ;; esac
    date "+%T ${line[*]}"
    oodbench train -m "${line[@]}" "$@" < /dev/null
    code=$?
    [ $code -lt 128 ] || exit $code # a signal
    [ $code = 0 ] || left=1
  done < "$list"
  [ $left = 0 ] || sleep "${PAUSE:-20}"
done
