/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration may ask of the host while it is read: regions of memory by their names, and
 * groups of CPUs by theirs. Read from /proc and /sys under a root that tests replace; a file there
 * is short and is read once. Main thread.
 *
 * A region is a child of the device tree's /reserved-memory, else a line of /proc/iomem (where a
 * host without a device tree shows what memmap= reserved). Both are named by their last name; of
 * several with one name, NAME@ADDRESS says which, as a device tree writes it.
 */
#include "qvm/cfg_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"

static const char *root = "";

void cfg_host_root_set(const char *dir)
{
	root = dir;
}

/* ---- files ---- */

/* At most @room bytes of @path; how many, or -errno. */
static ssize_t read_bytes(const char *path, void *buf, size_t room)
{
	int fd QCLEAN(qfd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (len < room) {
		ssize_t got = read(fd, (char *)buf + len, room - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

/* A line of text of @path under the root, without its end. False when it cannot be read. */
static bool read_line(char *buf, size_t buf_bytes, const char *path)
{
	char full[512];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);
	ssize_t len = n < 0 || (size_t)n >= sizeof(full) ? -1 :
		      read_bytes(full, buf, buf_bytes - 1);

	if (len < 0)
		return false;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* ---- regions ---- */

/* What is looked for, and what was found so far. */
struct search {
	const char *name;
	size_t name_len;	/* without @ADDRESS */
	bool has_addr;
	uint64_t addr;
	bool hidden;		/* the kernel shows no addresses to this process */
	bool any_unplaced;	/* one of that name has no address */
	unsigned n_found;
	struct cfg_region found;
};

static void search_start(struct search *s, const char *name)
{
	const char *at = strrchr(name, '@');
	char *end = NULL;

	*s = (struct search){ .name = name, .name_len = strlen(name) };
	if (!at || at == name || !at[1])
		return;
	uint64_t addr = strtoull(at + 1, &end, 16);
	if (*end)
		return;
	s->name_len = (size_t)(at - name);
	s->has_addr = true;
	s->addr = addr;
}

static bool is_named(const struct search *s, const char *name, size_t len)
{
	return len == s->name_len && !memcmp(name, s->name, len);
}

static void search_hit(struct search *s, uint64_t start, uint64_t len_bytes)
{
	if (s->has_addr && start != s->addr)
		return;
	if (!s->n_found++)
		s->found = (struct cfg_region){ start, len_bytes };
}

/* @n cells of 32 bits, the first the highest. */
static uint64_t cells_get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 4 * n; i++)
		v = v << 8 | p[i];
	return v;
}

/* "#address-cells" or "#size-cells" of /reserved-memory: 1 or 2; else 0. */
static unsigned cells_of(const char *dir, const char *prop)
{
	char path[512];
	uint8_t cell[4];

	snprintf(path, sizeof(path), "%s/%s", dir, prop);
	if (read_bytes(path, cell, sizeof(cell)) != sizeof(cell))
		return 0;
	uint64_t n = cells_get(cell, 1);
	return n == 1 || n == 2 ? (unsigned)n : 0;
}

/* A node's first region; those that the kernel places itself have a size alone. */
static void node_look(struct search *s, const char *dir, const char *node, unsigned n_addr,
		      unsigned n_size)
{
	char path[1024];
	uint8_t reg[16];

	snprintf(path, sizeof(path), "%s/%s/reg", dir, node);
	ssize_t len = read_bytes(path, reg, 4 * (n_addr + n_size));
	if (len != (ssize_t)(4 * (n_addr + n_size)))
		s->any_unplaced = true;
	else
		search_hit(s, cells_get(reg, n_addr), cells_get(reg + 4 * n_addr, n_size));
}

static void closedir_clean(DIR **d)
{
	if (*d)
		closedir(*d);
}

static void search_tree(struct search *s)
{
	char dir[512];

	snprintf(dir, sizeof(dir), "%s/proc/device-tree/reserved-memory", root);
	DIR *d QCLEAN(closedir_clean) = opendir(dir);
	unsigned n_addr = d ? cells_of(dir, "#address-cells") : 0;
	unsigned n_size = d ? cells_of(dir, "#size-cells") : 0;
	if (!n_addr || !n_size)
		return;
	for (struct dirent *e; (e = readdir(d));)
		if (is_named(s, e->d_name, strcspn(e->d_name, "@")))
			node_look(s, dir, e->d_name, n_addr, n_size);
}

/* "  100000000-11fffffff : Reserved" */
static void iomem_line(struct search *s, const char *line)
{
	uint64_t first, last;
	int name = 0;

	if (sscanf(line, " %" SCNx64 "-%" SCNx64 " : %n", &first, &last, &name) < 2 || !name)
		return;
	const char *at = line + name;
	if (!is_named(s, at, strcspn(at, "\n")) || last < first)
		return;
	/* What the kernel shows to those who may not know: all zeros. */
	if (last == 0)
		s->hidden = true;
	else
		search_hit(s, first, last - first + 1);
}

static void fclose_clean(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void search_iomem(struct search *s)
{
	char path[512], line[256];

	snprintf(path, sizeof(path), "%s/proc/iomem", root);
	FILE *f QCLEAN(fclose_clean) = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		iomem_line(s, line);
}

enum cfg_region_is cfg_host_region(const char *name, struct cfg_region *ret)
{
	struct search s;

	search_start(&s, name);
	if (!s.name_len)
		return CFG_REGION_NONE;
	search_tree(&s);
	if (!s.n_found && !s.any_unplaced)
		search_iomem(&s);
	if (s.n_found > 1)
		return CFG_REGION_SEVERAL;
	if (s.n_found == 0)
		return s.hidden ? CFG_REGION_HIDDEN :
		       s.any_unplaced ? CFG_REGION_UNPLACED : CFG_REGION_NONE;
	*ret = s.found;
	return CFG_REGION_OK;
}

/* ---- groups of CPUs ---- */

/* "0-3,8" into @mask. False when it is no such list, or names a CPU that has no place there. */
static bool cpulist_parse(const char *at, uint64_t mask[CFG_HOST_CPUS / 64])
{
	while (*at) {
		char *end;
		unsigned long first = strtoul(at, &end, 10), last = first;
		if (end == at)
			return false;
		if (*end == '-') {
			at = end + 1;
			last = strtoul(at, &end, 10);
			if (end == at)
				return false;
		}
		if (last < first || last >= CFG_HOST_CPUS || (*end && *end != ','))
			return false;
		for (unsigned long n = first; n <= last; n++)
			mask[n / 64] |= 1ull << n % 64;
		at = *end ? end + 1 : end;
	}
	return true;
}

/* "cluster3", "package0": the CPUs whose topology says that number. */
static void topology_look(const char *name, uint64_t mask[CFG_HOST_CPUS / 64])
{
	static const struct {
		const char *word, *file;
	} kinds[] = { { "cluster", "cluster_id" }, { "package", "physical_package_id" } };

	for (size_t k = 0; k < Q_ARRAY_LEN(kinds); k++) {
		const char *number = name + strlen(kinds[k].word);
		if (strncmp(name, kinds[k].word, strlen(kinds[k].word)) || !*number)
			continue;
		for (unsigned n = 0; n < CFG_HOST_CPUS; n++) {
			char path[128], id[32];
			snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/%s",
				 n, kinds[k].file);
			if (read_line(id, sizeof(id), path) && !strcmp(id, number))
				mask[n / 64] |= 1ull << n % 64;
		}
	}
}

bool cfg_host_cpus(const char *name, uint64_t ret_mask[CFG_HOST_CPUS / 64])
{
	static const struct {
		const char *dir, *file;
	} lists[] = {
		{ "/sys/devices/system/node", "cpulist" },	/* node0 */
		{ "/sys/bus/event_source/devices", "cpus" },	/* armv8_cortex_a72 */
	};
	uint64_t mask[CFG_HOST_CPUS / 64] = { 0 };
	char path[256], list[1024];
	bool found = false;

	if (strchr(name, '/') || name[0] == '.')
		return false;
	if (!strcmp(name, "isolated"))
		found = read_line(list, sizeof(list), "/sys/devices/system/cpu/isolated");
	for (size_t i = 0; i < Q_ARRAY_LEN(lists) && !found; i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", lists[i].dir, name, lists[i].file);
		found = read_line(list, sizeof(list), path);
	}
	if (found && !cpulist_parse(list, mask))
		return false;
	if (!found)
		topology_look(name, mask);
	if (!(mask[0] | mask[1] | mask[2] | mask[3]))
		return false;
	memcpy(ret_mask, mask, sizeof(mask));
	return true;
}
