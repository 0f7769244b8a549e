#!/bin/bash
# Runs on the submit host the commands it reads, one a line with tabs between the words, and answers to each:
#   BEGIN END STATUS     seconds since the epoch with six digits, and the exit status
# Usage: submit-shell.sh FILE     FILE.out and FILE.err receive the last command's output
# A shell, because it starts srun and reads the clock without starting anything else.
output=$1
echo ready
while IFS=$'\t' read -r -a command; do
    begin=$EPOCHREALTIME
    "${command[@]}" </dev/null >"$output.out" 2>"$output.err"
    status=$?
    end=$EPOCHREALTIME
    echo "$begin $end $status"
done
