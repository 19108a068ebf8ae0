# Where the time goes, as the tables of CONTRIBUTING. Sourced by tests/run.

measurements() {
    local part total_seconds=0 total_processor=0
    printf '\n%s, %s cores, commit %s\n\n' "$(processor_name)" "$(nproc)" "$(git rev-parse --short HEAD)"
    echo "| part | processor s | wall s | budget |"
    echo "|---|---:|---:|---:|"
    for part in "${parts[@]}"; do
        [[ ${seconds[$part]-} ]] || continue
        echo "| $part | ${processor[$part]} | ${seconds[$part]} | ${budget[$part]} |"
        total_seconds=$((total_seconds + seconds[$part]))
        total_processor=$((total_processor + processor[$part]))
    done
    echo "| all | $total_processor | $total_seconds | |"
    printf '\nThe slowest tests:\n\n'
    slowest_tests
    printf '\nCrates built most often, and for which parts (profiles, features and targets differ):\n\n'
    crates_built
}

processor_name() {
    sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo
}

slowest_tests() {
    local lines
    lines=$(logged | sed -nE 's/.*: +PASS \[ *([0-9.]+)s\] (\([ 0-9/]+\) )?(.*)/\1 \3/p' | sort -rnu | sed -n 1,25p)
    [[ $lines ]] || {
        echo "none: no part with tests ran"
        return
    }
    echo "| s | test |"
    echo "|---:|---|"
    sed -E 's/^([^ ]+) (.*)/| \1 | \2 |/' <<<"$lines"
}

crates_built() {
    local lines
    lines=$(logged | sed -nE 's/^([a-z-]+): +(Compiling|Checking|Documenting) ([^ ]+) v.*/\3 \1/p' |
        awk '{ n[$1]++; per[$1, $2]++; part[$2] }
             END { for (crate in n) { line = n[crate] " " crate
                   for (p in part) if (per[crate, p]) line = line " " p "×" per[crate, p]
                   print line } }' | sort -rn | sed -n 1,15p)
    [[ $lines ]] || {
        echo "none: all was built before"
        return
    }
    echo "| times | crate | parts |"
    echo "|---:|---|---|"
    sed -E 's/^([^ ]+) ([^ ]+) (.*)/| \1 | \2 | \3 |/' <<<"$lines"
}

# Every line of every part with the part's name before it, without colours.
logged() {
    local part
    for part in "${parts[@]}"; do
        [[ -f $logs/$part ]] || continue
        sed -e 's/\x1b\[[0-9;]*m//g' -e "s/^/$part: /" "$logs/$part"
    done
}
