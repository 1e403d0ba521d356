# SPDX-License-Identifier: GPL-2.0-or-later
#
# Part of build.sh: takes the kernels and their modules out of the packages.

# What may be a module; in some kernels it is built in.
wanted='drivers/virtio/|drivers/net/(net_failover|virtio_net)\.ko'
wanted="$wanted|drivers/block/virtio_blk\\.ko|net/core/failover\\.ko|lib/"
wanted="$wanted|fs/(ext4/|jbd2/|mbcache)|crypto/crc32c"

# What software RDMA needs of the stock kernel: the cloud one has none.
rdma='drivers/infiniband/(core/|sw/rxe/)|drivers/char/virtio_console\.ko'
rdma="$rdma|drivers/net/dummy\\.ko|fs/configfs/|crypto/crc32_generic"
rdma="$rdma|net/ipv4/udp_tunnel|net/ipv6/ip6_udp_tunnel"

# unpack_kernel PATTERN VMLINUZ DIR MODULES: from the package whose name
# matches PATTERN, the kernel and those modules whose path matches MODULES
unpack_kernel()
{
    deb=$(ls "$debs" | grep -E -m 1 "$1") || die "no kernel package in $debs"
    dpkg-deb --fsys-tarfile "$debs/$deb" > "$unpacked/kernel.tar"
    mkdir -p "$3"
    tar -t -f "$unpacked/kernel.tar" |
        grep -E "/boot/vmlinuz-|/kernel/($4)" | grep -v '/$' > "$unpacked/files"
    tar -x -C "$3" -f "$unpacked/kernel.tar" --no-same-owner -T "$unpacked/files"
    rm "$unpacked/kernel.tar"
    find "$3" -name '*.ko.xz' -exec xz -d {} +
    find "$3" -name '*.ko' > "$3/modules"
    cp "$3"/boot/vmlinuz-* "$2"
}

# module DIR NAME LIST: copies a module and, first, what it depends on into
# LIST's segment; a name that this kernel has no module for is built in.
module()
{
    grep -qx "$2.ko" "$3" 2> /dev/null && return
    for ko in $(grep -E "/$(echo "$2" | sed 's/[-_]/[-_]/g')\.ko\$" "$1/modules"); do
        for need in $(objcopy -O binary -j .modinfo "$ko" /dev/stdout |
                      tr '\0' '\n' | sed -n 's/^depends=//p' | tr , ' '); do
            (module "$1" "$need" "$3")
        done
        cp "$ko" "$segment/usr/lib/modules/$2.ko"
        echo "$2.ko" >> "$3"
    done
}

# modules DIR SEGMENT [NAME...]: the modules that a guest needs at boot, in
# the order to load them; and those that it needs for ext4
modules()
{
    tree=$1
    segment=$2
    shift 2
    mkdir -p "$segment/usr/lib/modules" "$segment/etc/colony"
    for name in virtio virtio_pci virtio_mmio virtio_net virtio_blk "$@"; do
        module "$tree" $name "$segment/etc/colony/modules.boot"
    done
    for name in crc32c_generic libcrc32c ext4; do
        module "$tree" $name "$segment/etc/colony/modules.ext4"
    done
}

# rdma_modules DIR SEGMENT: those of a guest with software RDMA, in the order
# to load them
rdma_modules()
{
    segment=$2
    mkdir -p "$segment/usr/lib/modules" "$segment/etc/colony"
    for name in virtio virtio_pci virtio_console virtio_net dummy rdma_ucm \
        crc32_generic rdma_rxe; do
        module "$1" $name "$segment/etc/colony/modules.rdma"
    done
}

# uncompress VMLINUZ VMLINUX: the payload of a bzImage, whose place is in its
# setup header (Documentation/arch/x86/boot.rst).  QEMU enters it by PVH,
# which saves the guest from uncompressing itself.
field()
{
    od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

uncompress()
{
    setup=$(field "$1" $((0x1f1)) 1)
    start=$(((setup + 1) * 512 + $(field "$1" $((0x248)) 4)))
    length=$(field "$1" $((0x24c)) 4)
    magic=$(od -An -v -t x1 -j $start -N 4 "$1" | tr -d ' ')
    case $magic in
    fd377a58) with='xz -dc --single-stream' ;;
    1f8b*) with='gzip -dc' ;;
    28b52ffd) with='from_tree zstd -dc' ;;
    02214c18) with='from_tree lz4 -dcq' ;;
    *) die "$1: compressed in a way not known here ($magic)" ;;
    esac
    # The size of the result stands in four bytes behind it, which the
    # program takes for garbage: the length of what came out tells.
    tail -c +$((start + 1)) "$1" | head -c $((length - 4)) |
        $with > "$2" || true
    size=$(field "$1" $((start + length - 4)) 4)
    [ "$(stat -c %s "$2")" = "$size" ] || die "$1: cannot uncompress its payload"
}

# Kernels, and for each the modules of its base segment
unpack_kernels()
{
    unpack_kernel '^linux-image-.*-cloud-amd64_' "$unpacked/vmlinuz" \
        "$unpacked/cloud" "$wanted"
    modules "$unpacked/cloud" "$unpacked/modules"

    unpack_kernel '^linux-image-[^_]*[0-9]-amd64_' "$unpacked/vmlinuz-stock" \
        "$unpacked/stock" "$wanted|drivers/net/ethernet/intel/e1000/|$rdma"
    modules "$unpacked/stock" "$unpacked/modules-stock" e1000
    rdma_modules "$unpacked/stock" "$unpacked/modules-rdma"

    for flavour in '' -stock; do
        uncompress "$unpacked/vmlinuz$flavour" "$unpacked/vmlinux$flavour"
    done
    rm -r "$unpacked/cloud" "$unpacked/stock"
}
