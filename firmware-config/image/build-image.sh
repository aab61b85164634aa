#!/bin/bash
# Makes the disk image of a box: a root that is mounted read-only, and everything that changes on a
# partition of its own, so that a power cut can hurt neither programs nor settings. Needs root, and
# the packages mmdebstrap, dosfstools, mtools, e2fsprogs and fdisk.
#
# usage: firmware-config/image/build-image.sh IMAGE PACKAGE.deb… [-- MMDEBSTRAP-ARGUMENT…]
# The arguments after "--" are for mmdebstrap, such as a mirror. Variables:
#   SETTINGS  a folder of the shop's own files, laid over the root: etc/tillbox/appliance.conf,
#             etc/tillbox/credentials/…, root/.ssh/authorized_keys
#   KERNEL    another kernel's package
#   TMPDIR    where 2 GB are free to work in; it goes faster in memory
# Write the image to the box's disk with dd; it starts by UEFI.
set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd)
ESP_MB=192
ROOT_MB=1600
DATA_MB=512 # grows to the end of the disk at the first start
DATA_TYPE=4D21B016-B534-45C2-A9FB-5C16E091FD2D # "var", by which etc/repart.d tells it from the root

kernel=${KERNEL:-linux-image-amd64}

image=$1
shift
packages=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do packages+=("$(realpath "$1")") && shift; done
[ $# -eq 0 ] || shift
[ ${#packages[@]} -gt 0 ] || { echo "which packages? see the head of $0" >&2 && exit 2; }

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
tree=$work/tree

# systemd-boot needs no more than its two files. The hooks let apt see the packages from in there.
# INITRD puts off the initrd, which two packages would have made in turn.
INITRD=No mmdebstrap --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount \
    --include="$kernel",initramfs-tools,zstd,systemd-sysv,systemd-boot-efi,systemd-resolved \
    --include=udev,dbus,kmod,iproute2,ca-certificates,e2fsprogs,fdisk,openssh-server \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "${packages[@]/#/--include=}" bookworm "$tree" "$@"

cp -r --no-preserve=mode,ownership "$recipe/tree/." "$tree/"
[ -z "${SETTINGS:-}" ] || cp -r --no-preserve=ownership "$SETTINGS/." "$tree/"
# Who this box is comes at its first start, and lasts as long as the data do.
echo uninitialized >"$tree/etc/machine-id" # an empty file is no first start (machine-id(5))
rm -f "$tree"/etc/ssh/ssh_host_*
ln -sf /run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
chroot "$tree" systemctl --quiet enable systemd-networkd systemd-resolved box-identity
# What a root that can't be written and has no LVM has no use for.
chroot "$tree" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service
[ -e "$tree/root/.ssh/authorized_keys" ] || chroot "$tree" systemctl --quiet disable ssh

version=$(ls "$tree/lib/modules")
chroot "$tree" update-initramfs -c -k "$version"
mkdir -p "$work/esp/EFI/BOOT" "$work/esp/loader/entries"
cp "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/esp/EFI/BOOT/BOOTX64.EFI"
cp "$tree/boot/vmlinuz-$version" "$work/esp/vmlinuz"
cp "$tree/boot/initrd.img-$version" "$work/esp/initrd.img"
printf 'timeout 0\neditor no\n' >"$work/esp/loader/loader.conf"
# Nothing is mounted that fstab doesn't name: the partition that the box starts from stays closed.
cat >"$work/esp/loader/entries/tillbox.conf" <<'END'
title Tillbox
linux /vmlinuz
initrd /initrd.img
options root=LABEL=tillbox-root ro quiet panic=10 systemd.gpt_auto=0 console=tty0 console=ttyS0
END
rm -f "$tree"/boot/*

# /var is the data partition; the root keeps an empty folder for it.
mv "$tree/var" "$work/data"
mkdir "$tree/var"
rm -rf "$work/data/lib/apt/lists" "$work/data/cache/apt"

mkfs.vfat -C -n TILLBOX-ESP "$work/esp.img" $((ESP_MB * 1024)) >/dev/null
mcopy -s -i "$work/esp.img" "$work"/esp/* ::
mkfs.ext4 -q -L tillbox-root -d "$tree" "$work/root.img" "${ROOT_MB}M"
mkfs.ext4 -q -L tillbox-data -d "$work/data" "$work/data.img" "${DATA_MB}M"

truncate -s $((ESP_MB + ROOT_MB + DATA_MB + 2))M "$image"
sfdisk --quiet "$image" <<END
label: gpt
start=1MiB, size=${ESP_MB}MiB, type=uefi, name=esp
size=${ROOT_MB}MiB, type=linux, name=root
size=${DATA_MB}MiB, type=$DATA_TYPE, name=data
END
offset_mb=1
for part in esp root data; do
    dd if="$work/$part.img" of="$image" bs=1M seek=$offset_mb conv=notrunc,sparse status=none
    offset_mb=$((offset_mb + $(stat -c %s "$work/$part.img") / 1048576))
done
echo "$image: write it to the box's disk"
