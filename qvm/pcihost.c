/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a function of the host's PCI by place or by identity, and reads its header. The header is
 * 64 bytes, which anybody may read; what is behind it is for the superuser and not asked for. Main
 * thread.
 */
#include "qvm/pcihost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define ROOT	   "/sys/bus/pci/devices"
#define NAME_BYTES 32u

static int Q_PRINTF(4, 5) bad(const struct vd_arg *a, struct cf_errors *errs, int err,
			      const char *fmt, ...)
{
	char text[256], shown[264];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cf_error_add(errs, CF_ERROR, a->file, a->line, a->col, "%s %s: %s", a->opt->name,
		     qlog_escape(shown, sizeof(shown), a->text, strlen(a->text)), text);
	return -err;
}

static int read_header(const char *root, const char *name, uint8_t *ret)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s/%s/config", root, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	int fd QCLEAN(qfd_close) = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t got = pread(fd, ret, VD_PCI_HEADER_BYTES, 0);
	if (got < 0)
		return -errno;
	return got == VD_PCI_HEADER_BYTES ? 0 : -EIO;
}

/* A number that ends at @end; false when it does not. */
static bool number(const char **at, int base, unsigned long max, char end, unsigned long *ret)
{
	char *stop;

	if (!strspn(*at, "0123456789abcdefABCDEF"))
		return false;
	if (!strncmp(*at, "0x", 2))
		base = 16;
	errno = 0;
	*ret = strtoul(*at, &stop, base);
	if (errno || *ret > max || (*stop && *stop != end) || stop == *at)
		return false;
	*at = *stop ? stop + 1 : stop;
	return true;
}

static int by_place(const char *root, const struct vd_arg *a, const char *at,
		    struct cf_errors *errs, uint8_t *ret)
{
	unsigned long bus, dev, func = 0;
	char name[NAME_BYTES];

	/* What is behind a dot is the function, so a device that no dot follows is the last. */
	if (!number(&at, 10, 255, ':', &bus) || !*at || !number(&at, 10, 31, '.', &dev) ||
	    (*at && (!number(&at, 10, 7, '\0', &func) || *at)))
		return bad(a, errs, EINVAL, "expected pci:bus:device.function of the host, such "
			   "as pci:0:31.0, or pci:vendor/device");
	snprintf(name, sizeof(name), "0000:%02lx:%02lx.%lx", bus, dev, func);
	int r = read_header(root, name, ret);
	if (r == -ENOENT)
		return bad(a, errs, ENODEV, "the host has no PCI device %s", name);
	return r < 0 ? bad(a, errs, -r, "the header of %s cannot be read: %s", name,
			   strerrordesc_np(-r)) : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The names of all functions, sorted. How many, or -errno. */
static int list(const char *root, char (**ret)[NAME_BYTES])
{
	DIR *dir = opendir(root);
	int n = 0;

	*ret = NULL;
	if (!dir)
		return -errno;
	for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= NAME_BYTES)
			continue;
		char (*more)[NAME_BYTES] = realloc(*ret, (size_t)(n + 1) * sizeof(**ret));
		if (!more) {
			n = -ENOMEM;
			break;
		}
		*ret = more;
		snprintf(more[n++], NAME_BYTES, "%s", e->d_name);
	}
	closedir(dir);
	if (n > 1)
		qsort(*ret, (size_t)n, sizeof(**ret), by_name);
	return n;
}

static bool is_one(const uint8_t *header, unsigned long vendor, unsigned long device)
{
	return (header[0] | header[1] << 8) == (int)vendor &&
	       (header[2] | header[3] << 8) == (int)device;
}

static int by_identity(const char *root, const struct vd_arg *a, const char *at,
		       struct cf_errors *errs, uint8_t *ret)
{
	unsigned long vendor, device, index = 0;
	char (*names)[NAME_BYTES];
	uint8_t header[VD_PCI_HEADER_BYTES];
	bool found = false;

	if (!number(&at, 16, 0xffff, '/', &vendor) || !*at ||
	    !number(&at, 16, 0xffff, '/', &device) ||
	    (*at && (!number(&at, 10, 255, '\0', &index) || *at)))
		return bad(a, errs, EINVAL, "expected pci:vendor/device, such as "
			   "pci:0x8086/0x9d4e");
	int n = list(root, &names);
	for (int i = 0; i < n && !found; i++) {
		if (read_header(root, names[i], header) < 0 || !is_one(header, vendor, device))
			continue;
		found = index-- == 0;
	}
	free(names);
	if (!found)
		return bad(a, errs, ENODEV, "the host has no such PCI device");
	memcpy(ret, header, sizeof(header));
	return 0;
}

int pcihost_header_at(const char *root, const struct vd_arg *arg, struct cf_errors *errs,
		      uint8_t *ret)
{
	const char *at = arg->text;

	if (!strncmp(at, "pci:", 4))
		at += 4;
	return strchr(at, '/') ? by_identity(root, arg, at, errs, ret) :
				 by_place(root, arg, at, errs, ret);
}

int pcihost_header(const struct vd_arg *arg, struct cf_errors *errs, uint8_t *ret)
{
	return pcihost_header_at(ROOT, arg, errs, ret);
}
