# The image holds the release build of the gateway and what glibc needs: no shell, no package manager, no setting.
#   docker build -t fanline .                                  for this machine's platform
#   docker buildx build --platform linux/amd64,linux/arm64 .   for both; the other one is cross-compiled, not emulated
#   docker build --target binary --output out .                the binary alone, as out/fanline-amd64 or -arm64
#   docker build --build-context binary=out .                  an image of binaries that are there already, as released
# Images are named by tag, not by digest, so that a rebuild brings Debian's fixes of libc; the provenance of a release
# says which digests it took.

FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm AS toolchain
# Notes in the binary which crates it is made of: scanners of images read it there.
RUN cargo install --locked --version 0.7.7 cargo-auditable

# ring and the linker need a C compiler of the target; a builder of that architecture has it. The version of libc that
# is linked against must not be newer than the one in the last stage: both are Debian 12's.
FROM toolchain AS toolchain-amd64
ARG BUILDARCH
ENV CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
RUN if [ "$BUILDARCH" != amd64 ]; then \
        apt-get update && \
        apt-get install -y --no-install-recommends gcc-x86-64-linux-gnu='4:12.*' libc6-dev-amd64-cross='2.36-*' && \
        rm -rf /var/lib/apt/lists/*; \
    fi && rustup target add "$CARGO_BUILD_TARGET"

FROM toolchain AS toolchain-arm64
ARG BUILDARCH
ENV CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
RUN if [ "$BUILDARCH" != arm64 ]; then \
        apt-get update && \
        apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu='4:12.*' libc6-dev-arm64-cross='2.36-*' && \
        rm -rf /var/lib/apt/lists/*; \
    fi && rustup target add "$CARGO_BUILD_TARGET"

# Whoever asks for another architecture is told that there is no image of this name.
# hadolint ignore=DL3006
FROM toolchain-$TARGETARCH AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# Crates and what was compiled stay with the builder. The times of files that come from elsewhere say nothing to
# Cargo, so it is told that ours are new.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=fanline-$TARGETARCH,sharing=locked \
    touch src/lib.rs src/main.rs && \
    cargo auditable build --locked --release --bin fanline && \
    cp "target/$CARGO_BUILD_TARGET/release/fanline" /fanline

FROM scratch AS binary
ARG TARGETARCH
COPY --from=build /fanline /fanline-$TARGETARCH

# glibc, not musl: allocator, resolver and target triple are those that the tests and the measurements ran with.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG TARGETARCH
COPY LICENSE .licences/THIRD-PARTY.txt /usr/share/doc/fanline/
COPY --from=binary --chmod=755 /fanline-$TARGETARCH /usr/local/bin/fanline
# A fanline.toml that is mounted here is read by serve and by healthcheck.
WORKDIR /etc/fanline
# In numbers, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# It reads the same file and variables as the gateway; the timeout is above its own of 5 s.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s CMD ["/usr/local/bin/fanline", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/fanline"]
CMD ["serve"]

# Last, because they change with every commit.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="fanline" \
      org.opencontainers.image.description="Real-time gateway: one PUBLISH into Redis reaches every client in the room, on every replica" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
