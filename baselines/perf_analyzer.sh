#!/bin/sh
# Runs NVIDIA's perf_analyzer 2.60 from PyPI on a machine of any glibc.
#
#     baselines/perf_analyzer.sh -m openclip_vit_b32_u8 --shape image:1,224,224,3 --concurrency-range 8
#
# Arguments go to perf_analyzer as they are. The wheel is linked against glibc 2.38, which Debian 12 has
# not. Where the machine's is older, Debian 13's libraries are unpacked (not installed) into the cache
# folder and its loader starts the program. --shared-memory makes it load NVIDIA's libcudart, for system
# shared memory too; that comes from PyPI as well. CACHE overrides ~/.cache/vitrine/perf_analyzer. Needs python3
# with venv; for the libraries apt-get and dpkg-deb, no root.
set -eu
version=2.60.0
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vitrine/perf_analyzer}
wheel=$cache/wheel
libraries=$cache/trixie
cudart=$cache/cudart
program=$wheel/perf_analyzer/bin/perf_analyzer

fetch_wheel() {
	echo "perf_analyzer.sh: fetching perf-analyzer $version from PyPI" >&2
	python3 -m venv "$cache/venv"
	# The platform is named because pip would reject the wheel on an older glibc.
	"$cache/venv/bin/pip" install -q --no-deps --only-binary=:all: --platform manylinux_2_38_x86_64 \
		--target "$wheel" "perf-analyzer==$version"
	chmod +x "$program"
}

# apt with a state of its own: the machine's sources and package lists are not touched.
fetch_libraries() {
	echo "perf_analyzer.sh: fetching Debian 13's glibc, libstdc++ and OpenSSL" >&2
	apt=$cache/apt
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$libraries"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$apt/sources.list"
	: >"$apt/status"
	set -- -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt" \
		-o APT::Sandbox::User= -o APT::Architecture=amd64
	apt-get "$@" update >&2
	(cd "$apt/archives" && apt-get "$@" download libc6 libstdc++6 libgcc-s1 zlib1g libssl3t64 libzstd1 >&2)
	for package in "$apt"/archives/*.deb; do
		dpkg-deb -x "$package" "$libraries"
	done
}

fetch_cudart() {
	echo "perf_analyzer.sh: fetching NVIDIA's libcudart from PyPI" >&2
	"$cache/venv/bin/pip" install -q --no-deps --target "$cudart" nvidia-cuda-runtime-cu12==12.9.79
	ln -s libcudart.so.12 "$cudart/nvidia/cuda_runtime/lib/libcudart.so"
}

[ -x "$program" ] || fetch_wheel
case " $* " in *" --shared-memory"*)
	[ -d "$cudart" ] || fetch_cudart
	export LD_LIBRARY_PATH="$cudart/nvidia/cuda_runtime/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
	;;
esac
if "$program" --version >/dev/null 2>&1; then
	exec "$program" "$@"
fi
loader=$libraries/usr/lib64/ld-linux-x86-64.so.2
[ -e "$loader" ] || fetch_libraries
exec "$loader" --library-path "$libraries/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$program" "$@"
