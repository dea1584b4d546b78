"""The code path of MKL, by which the same run gives the same bits again."""


def strict_path(cpuinfo):
    """The fastest code path of MKL with reproducible results (MKL_CBWR) on the processor that the
    text of /proc/cpuinfo describes. On processors that are not Intel's, AVX2 is the best there is.
    """
    found = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    avx512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(found.get("flags", "").split())
    intel = found.get("vendor_id") == "GenuineIntel"
    return "AVX512,STRICT" if intel and avx512 else "AVX2,STRICT"


def cpuinfo():
    try:
        with open("/proc/cpuinfo") as file:
            return file.read()
    except OSError:
        return ""
