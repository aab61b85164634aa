# Both programs of Tillbox, for the box and for head office; docker-compose.yml shows each at work.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY tools/install-deps.sh tools/
RUN tools/install-deps.sh run
COPY . .
RUN make && strip build/appliance build/bridge

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tillbox" \
      org.opencontainers.image.description="A point-of-sale box that never stops selling, and its head office" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ca-certificates \
        libcjson1 libcurl4 libinih1 libmicrohttpd12 libpq5 librabbitmq4 libsqlite3-0 libssl3 libsystemd0 && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* && \
    groupadd --system --gid 10001 tillbox && \
    useradd --system --uid 10001 --gid tillbox --no-create-home --home-dir /var/lib/tillbox tillbox && \
    install -d -o tillbox -g tillbox -m 0750 /var/lib/tillbox
COPY --from=build /src/build/appliance /src/build/bridge /usr/bin/
COPY tools/make-secrets.sh /usr/lib/tillbox/make-secrets

# By number, so that a cluster can see that it isn't root.
USER 10001:10001
WORKDIR /var/lib/tillbox
VOLUME /var/lib/tillbox
EXPOSE 8081 8082 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["appliance", "health"]
CMD ["appliance", "serve"]
