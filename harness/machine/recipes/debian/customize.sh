# Runs outside the new root, as its root; $1 is the root's folder. The secrets were laid in /harness-build.
set -eu
root=$1

chroot "$root" chpasswd --crypt-method SHA512 < "$root/harness-build/password"
rm -rf "$root/harness-build"

# An empty machine-id is filled in at every boot of a throw-away disk, without the first-boot rituals.
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"
echo debian > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n::1\tlocalhost ip6-localhost\n' > "$root/etc/hosts"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
echo '/dev/vda / ext4 rw,noatime 0 0' > "$root/etc/fstab"

chroot "$root" systemctl enable --quiet systemd-networkd.service ssh.service serial-getty@ttyS0.service
# Nothing may start by itself in the middle of a check, and a display-less machine needs no virtual terminals.
chroot "$root" systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service getty-static.service

# Only what a disk on virtio needs: a small initrd is unpacked quickly under emulation.
sed -i 's/^MODULES=.*/MODULES=list/' "$root/etc/initramfs-tools/initramfs.conf"
printf '%s\n' virtio_pci virtio_blk virtio_rng ext4 >> "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u

# apt's options of the building host (a proxy, say) are none of the guest's.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/doc "$root"/usr/share/man \
    "$root"/usr/share/locale "$root"/usr/share/info
