# What each part of the gate does. Sourced by tests/run; a part runs in a shell of its own that stops at the first error.

readonly no_std_target=thumbv7em-none-eabihf
readonly aarch64_target=aarch64-unknown-linux-gnu
# Whose tests run on that processor too.
readonly aarch64_packages=(stillkey-core stillkey)
readonly wasm_target=wasm32-unknown-unknown
# Power failures are checked by the million, so they have a part of their own.
readonly of_the_disk='test(/^(dictionaries::manager|kms)::tests::crash::/)'

part_setup() {
    run tests/setup
}

part_fmt() {
    run cargo fmt --all --check
}

part_clippy() {
    run cargo clippy --workspace --all-targets --locked -- -D warnings
    # The tests' dependencies turn features on; users have them off.
    run cargo clippy --workspace --locked -- -D warnings
    # So does the workspace.
    run cargo clippy -p stillkey-cli --no-default-features --locked -- -D warnings
    run cargo clippy -p stillkey --all-targets --locked -- -D warnings
}

part_test() {
    nextest -E "$(affected_tests) - ($of_the_disk)"
}

part_crash() {
    export STILLKEY_CRASH_STATES=$crash_states
    nextest -E "$of_the_disk"
}

# A gate that skips a test, or that has none to run, shows nothing.
nextest() {
    run cargo nextest run --config-file tests/nextest.toml --workspace --locked --run-ignored all --no-tests=fail "$@"
}

# Of a release build, since what ships is what has to be constant-time.
part_constant-time() {
    run cargo build --release -p stillkey-constant-time --locked
    run cargo run --release -p stillkey-constant-time --locked
}

# Emulated, so it shows what the kernels of that processor compute and nothing about their speed. The kernels' tests run on two
# processors, one of them without instructions for SM4, and say which kernels they ran; the rest of the tests runs on the other one.
part_aarch64() {
    local kernels='test(/^(kernel|provider|cpu)::/)'
    # The emulator takes no advice about memory and describes mappings as it likes, so there is nothing to see of ours.
    local of_the_system='test(=secret::arena::tests::a_slot_is_in_no_core_dump_and_in_no_forked_process)'
    # Thousands of schedules each, of code that has no instructions of its own there.
    local of_the_schedules='test(/^dictionaries::manager::tests::schedules::/)'
    local libraries=("${aarch64_packages[@]/#/--package=}") toolchain
    toolchain=$(tests/setup --toolchain-for "$aarch64_target") || {
        echo "no toolchain builds for $aarch64_target: run tests/setup aarch64" >&2
        return 1
    }
    run cargo "+$toolchain" clippy "${libraries[@]}" --all-targets --target "$aarch64_target" --locked -- -D warnings
    export STILLKEY_EXPECT_KERNELS=aes-armv8,sm4-neon-aes,sm4-neon,portable
    test_on_aarch64 cortex-a72 "($kernels) - package(stillkey-kernel-tests)"
    export STILLKEY_EXPECT_KERNELS=aes-armv8,sm4-armv8,sm4-neon-aes,sm4-neon,portable
    # An emulator is too slow for every case of the kernels' own tests.
    export STILLKEY_KERNEL_CASES=1/7
    test_on_aarch64 max "all() - ($of_the_system) - ($of_the_disk) - ($of_the_schedules)"
}

# usage: test_on_aarch64 PROCESSOR TESTS
# One set of packages and features, so that everything is built once. There is no OpenSSL for this
# processor here. Optimised: these are the instructions that users get, and emulators are slow.
test_on_aarch64() {
    run env CARGO_PROFILE_DEV_OPT_LEVEL=2 \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $1 -L /usr/aarch64-linux-gnu" \
        cargo "+$toolchain" nextest run --config-file tests/nextest.toml --profile emulated \
        "${libraries[@]}" --package=stillkey-kernel-tests --no-default-features \
        --target "$aarch64_target" --locked --run-ignored all --no-tests=fail -E "$2"
}

# Two modules, since a module has vector instructions or hasn't; and two hosts, since browsers compile and check modules in their own way.
part_wasm() {
    local toolchain runner driver
    toolchain=$(tests/setup --toolchain-for "$wasm_target") && runner=$(tests/setup --wasm-runner) && driver=$(tests/setup --chromedriver) || {
        echo "$wasm_target can't be built for, or not run: run tests/setup wasm" >&2
        return 1
    }
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$runner
    # Debian's compiler has no linker of its own for it.
    [[ $toolchain != stillkey-cross ]] || export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-22
    run cargo "+$toolchain" build -p stillkey-core --features kms --target "$wasm_target" --locked
    wasm_tests portable -Ctarget-feature=-simd128
    wasm_tests simd128 -Ctarget-feature=+simd128
}

# Optimised, since these are the instructions that users get. The tests check that the module has the kernels it should have.
wasm_tests() {
    export STILLKEY_EXPECT_KERNELS=$1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$2
    run cargo "+$toolchain" clippy -p stillkey-wasm --all-targets --target "$wasm_target" --locked -- -D warnings
    wasm_tests_in Node.js
    # The runner's own limits, 20 seconds for the page and 5 for the driver, are for machines that do nothing else.
    wasm_tests_in Chrome CHROMEDRIVER="$driver" WASM_BINDGEN_USE_BROWSER=1 \
        WASM_BINDGEN_TEST_TIMEOUT=300 WASM_BINDGEN_TEST_DRIVER_TIMEOUT=60
}

# usage: wasm_tests_in HOST [VARIABLE=VALUE…]
# That there were tests, and where they ran, the runner leaves to us.
wasm_tests_in() {
    local host=$1 log
    shift
    log=$(mktemp)
    run env CARGO_PROFILE_DEV_OPT_LEVEL=2 "$@" \
        cargo "+$toolchain" test -p stillkey-wasm --test ctr --target "$wasm_target" --locked | tee "$log"
    grep -qE '^test result: ok\. [1-9][0-9]* passed; 0 failed; 0 ignored; 0 filtered out' "$log" || {
        echo "the runner reported no test that passed in $host" >&2
        return 1
    }
    [[ $host == Node.js ]] || grep -qE "^Running headless tests in $host " "$log" || {
        echo "the tests did not run in $host" >&2
        return 1
    }
    rm "$log"
}

# The package as it would be published: its modules, its types, what it holds; and its suite, in Node.js and in browsers.
part_npm() {
    local toolchain flags
    toolchain=$(tests/setup --toolchain-for "$wasm_target") && tests/setup --chromium >/dev/null && tests/setup --firefox >/dev/null && tests/setup --webkit >/dev/null && tests/setup --bun >/dev/null && tests/setup --deno >/dev/null || {
        echo "the npm package can't be built or not be tested: run tests/setup wasm npm" >&2
        return 1
    }
    [[ $toolchain != stillkey-cross ]] || export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-22
    for flags in -simd128 +simd128; do
        run env CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-Ctarget-feature=$flags" \
            cargo "+$toolchain" clippy -p stillkey-bindings --target "$wasm_target" --locked -- -D warnings
    done
    cd wasm/npm
    CHROMIUM=$(../../tests/setup --chromium)
    FIREFOX=$(../../tests/setup --firefox)
    WEBKIT=$(../../tests/setup --webkit)
    BUN=$(../../tests/setup --bun)
    DENO=$(../../tests/setup --deno)
    export CHROMIUM FIREFOX WEBKIT BUN DENO
    run npm ci --no-audit --no-fund
    run npm run build
    run npm test
}

# The page on top of the package, whose part comes before and builds it.
part_inspector() {
    tests/setup --chromium >/dev/null && tests/setup --webkit >/dev/null || {
        echo "the inspector can't be tested: run tests/setup npm" >&2
        return 1
    }
    [[ -f wasm/npm/dist/plain.wasm && -f wasm/npm/dist/simd.wasm && -f wasm/npm/dist/esm/api.js ]] || {
        echo "the npm package is not built, and the inspector is built on it: run tests/run --only npm,inspector" >&2
        return 1
    }
    cd wasm/inspector
    CHROMIUM=$(../../tests/setup --chromium)
    WEBKIT=$(../../tests/setup --webkit)
    export CHROMIUM WEBKIT
    run npm ci --no-audit --no-fund
    run npm run check
    run npm run build
    run npm test
}

part_doctest() {
    run cargo test --doc --workspace --locked
}

part_doc() {
    run env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
}

# On a target without std, any use of std is an error; a host build with #![no_std] would let dependencies use it.
part_no-std() {
    local toolchain
    toolchain=$(tests/setup --toolchain-for "$no_std_target") || {
        echo "no toolchain builds for $no_std_target: run tests/setup cross" >&2
        return 1
    }
    run cargo "+$toolchain" build -p stillkey-core --target "$no_std_target" --locked
    run cargo "+$toolchain" build -p stillkey-core --features kms --target "$no_std_target" --locked
}

part_fuzz() {
    local target targets running=0 status=0
    [[ -f fuzz/Cargo.toml ]] || {
        echo "there is no fuzz/Cargo.toml, so nothing can be fuzzed" >&2
        return 1
    }
    # `cargo fmt --all` in the workspace does not see this one.
    run cargo fmt --manifest-path fuzz/Cargo.toml --check
    run cargo +nightly metadata --manifest-path fuzz/Cargo.toml --locked --format-version 1 >/dev/null
    mapfile -t targets < <(basename --suffix .rs fuzz/fuzz_targets/*.rs)
    [[ $(grep -c '^\[\[bin\]\]' fuzz/Cargo.toml) == "${#targets[@]}" ]] || {
        echo "fuzz/Cargo.toml and fuzz/fuzz_targets don't name the same targets" >&2
        return 1
    }
    build_fuzz_targets

    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    for target in "${targets[@]}"; do
        if ((running == $(nproc))); then
            wait -n || status=1
            running=$((running - 1))
        fi
        fuzz_one "$target" &
        running=$((running + 1))
    done
    while ((running)); do
        wait -n || status=1
        running=$((running - 1))
    done
    return "$status"
}

# With the flags of cargo-fuzz 0.13.2, which would have to be compiled first.
build_fuzz_targets() {
    local flags=(
        --cfg fuzzing -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        -Cllvm-args=-sanitizer-coverage-stack-depth
        -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    )
    # With a named target, build scripts and macros are built without these flags.
    fuzz_triple=$(rustc -vV | sed -n 's/^host: //p')
    run env RUSTFLAGS="${flags[*]}" CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
        cargo +nightly build --release --bins --manifest-path fuzz/Cargo.toml \
        --target-dir fuzz/target --target "$fuzz_triple" --locked
}

fuzz_one() {
    local target=$1 found=$scratch/$1.found log=$scratch/$1.log seeds=() status=0
    # libFuzzer writes what it finds to the first folder: that one is not the repository's.
    mkdir -p "$found" "fuzz/artifacts/$target"
    [[ -d fuzz/corpus/$target ]] && seeds=("fuzz/corpus/$target")
    ASAN_OPTIONS=detect_odr_violation=0 "fuzz/target/$fuzz_triple/release/$target" "$found" "${seeds[@]}" \
        "-artifact_prefix=fuzz/artifacts/$target/" -rss_limit_mb=2048 -timeout=20 \
        "-max_total_time=$fuzz_seconds" >"$log" 2>&1 || status=$?
    # A target that ends well without having run its body has shown nothing.
    if ((status == 0)) && grep -qE '^Done [1-9][0-9]* runs' "$log"; then
        printf '%-24s %s\n' "$target" "$(grep -E '^Done ' "$log"), ${#seeds[@]} seed folder"
    else
        tail -n 60 "$log"
        echo "$target FAILED (status $status)"
        return 1
    fi
}

