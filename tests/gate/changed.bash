# Which parts a change can affect. Sourced by tests/run.

# Whose change, or that of a crate they depend on, each part is about. What isn't here is about
# every crate.
readonly -A about=(
    [crash]=stillkey
    [constant-time]=stillkey-constant-time
    [aarch64]="stillkey-core stillkey stillkey-kernel-tests"
    [wasm]=stillkey-wasm
    [npm]=stillkey-bindings
    [inspector]=stillkey-bindings
    [no-std]=stillkey-core
    [fuzz]="stillkey-core stillkey"
)

# Crates that changed, with those that depend on them; empty when every test is to run.
affected=()

# The tests of these as nextest's expression.
affected_tests() {
    local crate expression=
    ((${#affected[@]})) || {
        echo 'all()'
        return
    }
    for crate in "${affected[@]}"; do
        expression+=${expression:+ | }"package(=$crate)"
    done
    echo "($expression)"
}

# Chooses by what differs from $since, in commits, in the index, in the working tree, and in files
# that git doesn't know yet.
choose_changed() {
    local base path crate crates=() chosen=(fmt) everything=
    base=$(git merge-base "$since" HEAD) || usage_error "git knows no commit '$since' that has to do with this one"
    local -A direct=() also=()
    while IFS= read -r -d '' path; do
        case $path in
            fuzz/*) also[fuzz]=$path ;;
            # The page is built on the package.
            wasm/npm/*) also[npm]=$path also[inspector]=$path ;;
            wasm/inspector/*) also[npm]=$path also[inspector]=$path ;;
            # Some are tested, as programs or as links.
            *.md) direct[stillkey-tests]=$path also[doctest]=$path also[doc]=$path ;;
            LICENSE-* | .gitignore) ;;
            *)
                crate=$(crate_of "$path")
                if [[ $crate ]]; then direct[$crate]=$path; else everything=$path; fi
                ;;
        esac
    done < <(git diff -z --name-only "$base" && git ls-files -z --others --exclude-standard)

    if [[ $everything ]]; then
        echo "'$everything' can affect anything: everything runs."
        return
    fi
    mapfile -t crates < <(dependents "${!direct[@]}")
    choose_parts
    affected=("${crates[@]}")
    echo "Changed since $since (${base:0:12}): ${!direct[*]:-no crate}${also[*]:+; ${also[*]}}"
    echo "Affected crates: ${crates[*]:-none}"
    for part in "${parts[@]}"; do
        [[ " ${only[*]} " == *" $part "* ]] ||
            echo "Left out: $part${about[$part]+, which is about ${about[$part]}}"
    done
}

choose_parts() {
    local part crate
    only=(fmt)
    for part in "${parts[@]}"; do
        [[ $part != setup && $part != fmt ]] || continue
        if [[ ${also[$part]-} ]]; then
            only+=("$part")
            continue
        fi
        for crate in ${about[$part]-${crates[*]-}}; do
            if [[ " ${crates[*]-} " == *" $crate "* ]]; then
                only+=("$part")
                break
            fi
        done
    done
}

# The crate in whose directory a file is, the innermost one; nothing when there is none.
crate_of() {
    local path=$1 name directory best= longest=0
    [[ $path != tests/vectors/* && $path != tests/gate/* && $path != tests/*-sysroot ]] || return 0
    [[ $path != tests/run && $path != tests/setup && $path != tests/nextest.toml ]] || return 0
    while read -r name directory; do
        if [[ $path == "$directory"/* ]] && ((${#directory} > longest)); then
            best=$name longest=${#directory}
        fi
    done < <(crates_of_the_workspace)
    echo "$best"
}

# Lines of name and directory.
crates_of_the_workspace() {
    cargo tree --workspace --depth 0 --prefix none --locked |
        sed -nE "s|^([^ ]+) v[^ ]+ .*\($PWD/([^)]+)\).*|\1 \2|p"
}

# These crates, and every crate of the workspace that depends on one of them.
dependents() {
    local crate
    for crate; do
        cargo tree --workspace --invert "$crate" --edges all --target all --prefix none --locked |
            sed -nE "s|^([^ ]+) v[^ ]+ .*\($PWD/[^)]+\).*|\1|p"
    done | sort -u
}
