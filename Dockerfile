# docker build --build-arg MONITOR_COMMIT=$(git rev-parse --short=12 HEAD) -t iptables-monitor:0.1.0 .
#
# `make check-image` installs the packages below into an empty root of the same release and runs the program there as the DaemonSet
# does. It does not pull or build the images themselves.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG MONITOR_COMMIT=""
RUN MONITOR_COMMIT="$MONITOR_COMMIT" cargo build --release --locked --bin monitor

FROM debian:bookworm-slim
ARG MONITOR_COMMIT=""
LABEL org.opencontainers.image.title="iptables-monitor" \
      org.opencontainers.image.description="A node-local iptables and nftables compliance monitor that never fails open" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$MONITOR_COMMIT"
# systemd has journalctl, which --drops-source journal needs. The rules are read from the kernel: neither iptables nor nft is here.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/monitor /usr/bin/monitor
# Manifests of azure-iptables-monitor name this program (docs/migrating.md).
RUN ln -s usr/bin/monitor /azure-iptables-monitor
# Manifests of kube-iptables-tailer name this one.
RUN ln -s usr/bin/monitor /kube-iptables-tailer
ENTRYPOINT ["/usr/bin/monitor"]
