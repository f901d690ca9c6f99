# For people who want `docker build`. `cargo xtask image` makes the same images without an engine or a base image.
#   docker build --target swell-service -t localhost/swell-service:dev .
#   docker build --target swell-loadgen -t localhost/swell-loadgen:dev .
#   docker build --target swell-adapter -t localhost/swell-adapter:dev .
FROM rust:1.95-bookworm AS build
WORKDIR /swell
COPY . .
# An explicit target: without one the static flag would also hit proc-macros, which are libraries of the compiler.
RUN target=$(uname -m)-unknown-linux-gnu \
 && RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
    cargo build --profile image --locked --target "$target" -p service -p loadgen -p adapter \
 && mkdir -p /root-of-image/etc /root-of-image/tmp \
 && chmod 1777 /root-of-image/tmp \
 && printf 'root:x:0:0:root:/:/sbin/nologin\nswell:x:65532:65532:swell:/:/sbin/nologin\n' > /root-of-image/etc/passwd \
 && printf 'root:x:0:\nswell:x:65532:\n' > /root-of-image/etc/group \
 && printf 'hosts: files dns\n' > /root-of-image/etc/nsswitch.conf \
 && cp "target/$target/image/service" /swell-service \
 && cp "target/$target/image/loadgen" /swell-loadgen \
 && cp "target/$target/image/adapter" /swell-adapter

FROM scratch AS swell-loadgen
COPY --from=build /root-of-image/ /
COPY --from=build /swell-loadgen /swell-loadgen
USER 65532:65532
ENTRYPOINT ["/swell-loadgen"]

FROM scratch AS swell-adapter
COPY --from=build /root-of-image/ /
COPY --from=build /swell-adapter /swell-adapter
USER 65532:65532
EXPOSE 6443
ENTRYPOINT ["/swell-adapter"]

FROM scratch AS swell-service
COPY --from=build /root-of-image/ /
COPY --from=build /swell-service /swell-service
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/swell-service"]
