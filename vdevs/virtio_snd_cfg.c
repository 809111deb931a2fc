/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of virtio-snd: which streams the guest sees, and the limits of each. No state.
 *
 * Invariant: options that were understood make a device that lib/qsnd can describe.
 */
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio_snd.h"

#define STREAMS_EACH 1u
#define CHANNELS_DEFAULT 2u

static bool refuse(const struct vd_config *cfg, const struct vd_arg *a, struct cf_errors *errs,
		   const char *expected)
{
	cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
		     "%s: %s %s is not served, expected %s", cfg->type, a->opt->name, a->text,
		     expected);
	return false;
}

/* "A:B" or, when @lone is given, "A" (which sets both as it says). Decimal, at most 9 digits. */
static bool pair_parse(const char *text, bool lone, uint32_t *ret_a, uint32_t *ret_b)
{
	uint32_t v[2] = { 0, 0 };
	unsigned i = 0, digits = 0;

	for (; *text; text++) {
		if (*text == ':' && i == 0 && digits) {
			i = 1;
			digits = 0;
			continue;
		}
		if (*text < '0' || *text > '9' || ++digits > 9)
			return false;
		v[i] = v[i] * 10 + (uint32_t)(*text - '0');
	}
	if (!digits || (i == 0 && !lone))
		return false;
	*ret_a = v[0];
	*ret_b = i ? v[1] : v[0];
	return true;
}

/* ---- one option each; an option that is not given keeps what stands there ---- */

static bool opt_streams(const struct vd_config *cfg, struct cf_errors *errs,
			struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "streams");
	uint32_t out = o->n_out, in = o->n_in;

	if (a && (!pair_parse(a->text, false, &out, &in) || out > QSND_ITEMS_MAX ||
		  in > QSND_ITEMS_MAX - out || !(out + in)))
		return refuse(cfg, a, errs, "PLAYBACK:CAPTURE, from 1 to 16 streams together");
	o->n_out = out;
	o->n_in = in;
	return true;
}

static bool opt_formats(const struct vd_config *cfg, struct cf_errors *errs,
			struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "formats");

	return !a || qsnd_formats_parse(a->text, &o->limits.formats) ||
	       refuse(cfg, a, errs, "all or a list of s16, s24, s32 and f32 with commas");
}

static bool opt_rates(const struct vd_config *cfg, struct cf_errors *errs,
		      struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "rates");

	return !a || qsnd_rates_parse(a->text, &o->limits.rates) ||
	       refuse(cfg, a, errs, "all or a list of rates with commas: 5512, 8000, 11025, 16000, "
		      "22050, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000, 384000");
}

static bool opt_channels(const struct vd_config *cfg, struct cf_errors *errs,
			 struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "channels");
	uint32_t min = o->limits.channels_min, max = o->limits.channels_max;

	if (a && (!pair_parse(a->text, true, &min, &max) || !min || min > max ||
		  max > QSND_CHANNELS_MAX))
		return refuse(cfg, a, errs, "N or MIN:MAX from 1 to 8");
	o->limits.channels_min = (uint8_t)min;
	o->limits.channels_max = (uint8_t)max;
	return true;
}

static bool opt_fragment(const struct vd_config *cfg, struct cf_errors *errs,
			 struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "fragment");
	uint32_t min = 0, max = 0;

	if (a && (!pair_parse(a->text, false, &min, &max) || !max || min > max))
		return refuse(cfg, a, errs, "MIN:MAX in bytes");
	o->limits.period_bytes_min = min;
	o->limits.period_bytes_max = max;
	return true;
}

static bool opt_buffer(const struct vd_config *cfg, struct cf_errors *errs,
		       struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "buffer");

	if (a && (!a->num || a->num > UINT32_MAX))
		return refuse(cfg, a, errs, "a size below 4G");
	if (a && a->num < Q_MAX(o->limits.period_bytes_min, 1u)) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: buffer %s is smaller than the smallest fragment", cfg->type,
			     a->text);
		return false;
	}
	o->limits.buffer_bytes_max = a ? (uint32_t)a->num : 0;
	return true;
}

/* ---- what they are together ---- */

#define HOSTDEVS "mediator:NAME, vhost-user:PATH, alsa:PCM, file:PATH or null"

/* What the guest may do there says the back end. */
static bool check_backend(const struct vd_config *cfg, struct cf_errors *errs)
{
	bool ok = true;

	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];

		if (!strcmp(a->opt->name, "hostdev"))
			continue;
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: %s is for a sound device of this VM; with a back end, it says "
			     "what the guest sees", cfg->type, a->opt->name);
		ok = false;
	}
	return ok;
}

static bool check_capture(const struct vd_config *cfg, struct cf_errors *errs,
			  struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "capture");
	enum vd_snd_form form;
	const char *rest;

	o->capture = a;
	if (!a)
		return true;
	form = vd_snd_form(a->text, &rest);
	if (form == VD_SND_UNKNOWN || form == VD_SND_BACKEND)
		return refuse(cfg, a, errs, "alsa:PCM, file:PATH or null");
	if (!o->n_in) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: capture %s is of no use: streams says that nothing is recorded",
			     cfg->type, a->text);
		return false;
	}
	return true;
}

static bool check_hostdev(const struct vd_config *cfg, struct cf_errors *errs,
			  struct virtio_snd_options *o)
{
	const struct vd_arg *a = vd_arg_find(cfg, "hostdev");
	enum vd_snd_form form;
	const char *rest;

	if (!a) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: hostdev is missing: " HOSTDEVS, cfg->type);
		return false;
	}
	o->hostdev = a;
	form = vd_snd_form(a->text, &rest);
	if (form == VD_SND_UNKNOWN)
		return refuse(cfg, a, errs, HOSTDEVS);
	if (form == VD_SND_BACKEND)
		return check_backend(cfg, errs);
	if (form == VD_SND_FILE && o->n_out != 1) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: hostdev %s is the sound of one stream, and streams says %u",
			     cfg->type, a->text, o->n_out);
		return false;
	}
	return true;
}

bool virtio_snd_options(const struct vd_config *cfg, struct cf_errors *errs,
			struct virtio_snd_options *ret)
{
	struct virtio_snd_options o = {
		.n_out = STREAMS_EACH, .n_in = STREAMS_EACH,
		.limits = { .channels_min = 1, .channels_max = CHANNELS_DEFAULT,
			    .features = QSND_FEATURES, .formats = QSND_FORMATS,
			    .rates = QSND_RATES },
	};
	/* Each says what is wrong with it, in one run. */
	bool ok = opt_streams(cfg, errs, &o);

	ok = opt_formats(cfg, errs, &o) && ok;
	ok = opt_rates(cfg, errs, &o) && ok;
	ok = opt_channels(cfg, errs, &o) && ok;
	ok = opt_fragment(cfg, errs, &o) && ok;
	ok = opt_buffer(cfg, errs, &o) && ok;
	ok = check_hostdev(cfg, errs, &o) && ok;
	ok = check_capture(cfg, errs, &o) && ok;
	*ret = o;
	return ok;
}
