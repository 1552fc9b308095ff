#!/bin/bash
# Builds the guest: kernel, initramfs and root image, under $VM (default: adaptive-vm in the temporary folder). About 4 minutes, 2 GB of disk.
# usage: build.sh [CHECKOUT]      needs root, debootstrap, qemu-system-x86_64, e2fsprogs, cpio; Debian's and PyPI's clients set up
set -eu
here=$(cd "$(dirname "$0")" && pwd)
VM=${VM:-${TMPDIR:-/tmp}/adaptive-vm}; SUITE=${SUITE:-sid}; checkout=${1:-$(git rev-parse --show-toplevel)}
mkdir -p "$VM/share"; cd "$VM"
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)

# 1 a root folder; made once per suite
if [ ! -e root/ok ]; then
    rm -rf root
    debootstrap --variant=minbase --include=python3,python3-venv,busybox-static,iproute2,procps,kmod,util-linux,systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,ca-certificates \
        "$SUITE" root "$mirror" >debootstrap.log
    cp /etc/ssl/certs/ca-certificates.crt root/etc/ssl/certs/
    cp /etc/resolv.conf root/etc/resolv.conf
    touch root/ok
fi
mkdir -p root/boot-kernel
if [ ! -e root/boot-kernel/vmlinuz ]; then    # the kernel's package is unpacked, not installed: no initramfs tool is wanted
    mount --bind /proc root/proc; trap 'umount "$VM/root/proc" 2>/dev/null || true' EXIT
    # A mirror may stand still, and its lists be past their date.
    echo 'Acquire::Check-Valid-Until "false";' >root/etc/apt/apt.conf.d/90standing
    chroot root apt-get -qq update
    chroot root sh -eu -c '
        package=$(apt-cache depends linux-image-amd64 | grep -m1 -oE "linux-image-[0-9][^ ]*")
        cd /var/tmp; v=${package#linux-image-}
        apt-get -qq download $(apt-cache depends $package | sed -n "s/^ *Depends: \(linux-\(binary\|modules\|base\)-[0-9].*\)/\1/p") $package
        for deb in linux-*.deb; do dpkg -x $deb /; done; rm -f linux-*.deb
        depmod -a $v
        cp $(ls /boot/vmlinuz-$v /usr/lib/modules/$v/vmlinuz 2>/dev/null | head -n 1) /boot-kernel/vmlinuz
        echo $v > /boot-kernel/version'
    umount root/proc; trap - EXIT
fi
version=$(cat root/boot-kernel/version)

# 2 an initramfs that finds the root image: busybox and the few modules
modules="virtio_blk ext4 9p 9pnet_virtio"
if [ ! -e initramfs.gz ]; then
    rm -rf initramfs; mkdir -p initramfs/{bin,proc,sys,dev,new,modules}
    cp root/usr/bin/busybox initramfs/bin/ 2>/dev/null || cp root/bin/busybox initramfs/bin/
    ln -s busybox initramfs/bin/sh
    : >initramfs/modules/order
    for module in $modules; do
        chroot root modprobe -S "$version" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}'
    done | awk '!seen[$0]++' | while read -r path; do
        name=$(basename "$path" .xz); xz -dc "root$path" >"initramfs/modules/$name"; echo "$name" >>initramfs/modules/order
    done
    cp "$here/initramfs-init" initramfs/init; chmod +x initramfs/init
    (cd initramfs && find . | ./bin/busybox cpio -o -H newc 2>/dev/null) | gzip -1 >initramfs.part; mv initramfs.part initramfs.gz
fi

# 3 Python packages, and the product as committed (made anew each time)
[ -x root/opt/env/bin/python ] || chroot root python3 -m venv /opt/env
if [ ! -e root/opt/env/packages-ok ]; then
    python=$(chroot root /opt/env/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -m pip install -q --target "root/opt/env/lib/python$python/site-packages" --python-version "$python" \
        --only-binary=:all: psutil loky cloudpickle joblib threadpoolctl filelock typer rich numpy
    touch root/opt/env/packages-ok
fi
rm -rf product && mkdir product
git -C "$checkout" archive HEAD | tar -x -C product
git -C "$checkout" rev-parse --short HEAD >product.commit
rm -rf root/opt/product && cp -r product root/opt/product
site=$(ls -d root/opt/env/lib/python3.*/site-packages)
echo /opt/product >"$site/product.pth"
printf '#!/bin/sh\nexec /opt/env/bin/python -m adaptive_exec "$@"\n' >root/opt/env/bin/adaptive-exec; chmod +x root/opt/env/bin/adaptive-exec

# 4 the root image; the guest is given a copy-on-write view of it, so it stays as it is
cp "$here/guest-agent" root/opt/guest-agent; chmod +x root/opt/guest-agent
cp "$here/guest-agent.service" root/etc/systemd/system/
mkdir -p root/etc/systemd/system/multi-user.target.wants root/share
ln -sf ../guest-agent.service root/etc/systemd/system/multi-user.target.wants/
ln -sf /dev/null root/etc/systemd/system/systemd-firstboot.service
ln -sf /dev/null root/etc/systemd/system/systemd-oomd.service
grep -q '^tester:' root/etc/passwd || chroot root useradd -m -s /bin/bash tester
echo lab >root/etc/hostname; : >root/etc/fstab
rm -f root.img; truncate -s 4G root.img
mke2fs -q -t ext4 -d root root.img
ls -la "$VM"/root.img "$VM"/initramfs.gz; echo "guest built: kernel $version, product $(cat product.commit)"
