# What a person can do about a failure that is not about the code. Sourced by tests/run.

# What of tests/setup a part needs.
readonly -A needs=(
    [fmt]=rust [clippy]="rust openssl" [test]="rust openssl nextest" [crash]="rust nextest"
    [constant-time]="rust valgrind" [aarch64]="rust nextest aarch64" [wasm]="rust wasm"
    [npm]="rust wasm npm" [inspector]="npm" [doctest]="rust openssl" [doc]="rust openssl"
    [no-std]="rust cross" [fuzz]="rust fuzz"
)

# usage: hints PART LOG
# Says what the log of a part that failed shows to be missing, and which command brings it.
hints() {
    local part=$1 log=$2 setup="tests/setup ${needs[$1]-}"
    if grep -qE 'No space left on device|os error 28|ENOSPC' "$log"; then
        echo "HINT: a disk is full. What is left: $(free_space). Make room ('cargo clean' removes" \
            "what was built here), or set CARGO_TARGET_DIR and TMPDIR to a larger disk."
    fi
    if grep -qE 'Could not resolve host|Temporary failure (in name resolution|resolving)|failed to (fetch|download|get|update)|[Nn]etwork failure|spurious network error|Connection timed out|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|Unable to fetch' "$log"; then
        echo "HINT: there was no network, or not the right proxy, for something that has to be" \
            "downloaded. With a network, '$setup' and 'cargo fetch --locked' (in fuzz/, too) and" \
            "'npm ci' (in wasm/npm and wasm/inspector) fetch all there is; then it needs none."
    fi
    if grep -qE 'command not found|no such (sub)?command|toolchain .* is not installed|is not installed for the toolchain|target may not be installed|linker .* not found|[Cc]ould not find (directory of )?OpenSSL|is the proper package|No such file or directory \(os error 2\)' "$log"; then
        echo "HINT: a tool may be missing, or be of another version: run $setup"
    fi
    if grep -qE 'lock file .* needs to be updated|package-lock.json.* in sync|cannot update the lock file' "$log"; then
        echo "HINT: a lock file is not what its manifest asks for: run 'cargo update --workspace'" \
            "(in fuzz/, too) or 'npm install' there, and commit the lock file."
    fi
}

free_space() {
    df -h --output=avail,target "${CARGO_TARGET_DIR:-.}" "${TMPDIR:-/tmp}" "$HOME" 2>/dev/null |
        sed 1d | sort -u | awk '{ printf "%s%s on %s", comma, $1, $2; comma = ", " }'
}
