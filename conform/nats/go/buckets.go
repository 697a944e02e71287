package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func (r *rig) bucket(change func(*jetstream.KeyValueConfig)) jetstream.KeyValue {
	config := jetstream.KeyValueConfig{Bucket: strings.ReplaceAll(r.stem, "-", "_"), Storage: jetstream.MemoryStorage}
	if change != nil {
		change(&config)
	}
	r.made = append(r.made, "KV_"+config.Bucket)
	return have(r.js.CreateKeyValue(r.ctx, config))
}

func (r *rig) value(kv jetstream.KeyValue, key string) any {
	entry, err := kv.Get(r.ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "unknown"
	}
	must(err)
	return list{string(entry.Value()), entry.Revision()}
}

func (r *rig) store() jetstream.ObjectStore {
	name := strings.ReplaceAll(r.stem, "-", "_")
	r.made = append(r.made, "OBJ_"+name)
	return have(r.js.CreateObjectStore(r.ctx, jetstream.ObjectStoreConfig{Bucket: name, Storage: jetstream.MemoryStorage}))
}

func names(infos []*jetstream.ObjectInfo) []string {
	found := []string{}
	for _, info := range infos {
		found = append(found, info.Name)
	}
	slices.Sort(found)
	return found
}

var buckets = []entry{
	{"kv_values", func(r *rig) any {
		kv := r.bucket(nil)
		revisions := list{have(kv.PutString(r.ctx, "a", "1")), have(kv.PutString(r.ctx, "b", "2")), have(kv.PutString(r.ctx, "a", "3"))}
		return list{revisions, r.value(kv, "a"), r.value(kv, "b"), r.value(kv, "z")}
	}},
	{"kv_conditions", func(r *rig) any {
		kv := r.bucket(func(config *jetstream.KeyValueConfig) { config.History = 5 })
		first := have(kv.Create(r.ctx, "a", []byte("1")))
		_, again := kv.Create(r.ctx, "a", []byte("2"))
		updated := have(kv.Update(r.ctx, "a", []byte("3"), first))
		_, stale := kv.Update(r.ctx, "a", []byte("4"), first)
		must(kv.Delete(r.ctx, "a"))
		return list{first, code(again), updated, code(stale), have(kv.Create(r.ctx, "a", []byte("5"))), r.value(kv, "a")}
	}},
	{"kv_deleted_and_purged", func(r *rig) any {
		kv := r.bucket(func(config *jetstream.KeyValueConfig) { config.History = 5 })
		for _, body := range []string{"1", "2"} {
			have(kv.PutString(r.ctx, "a", body))
			have(kv.PutString(r.ctx, "b", body))
		}
		must(kv.Delete(r.ctx, "a"))
		must(kv.Purge(r.ctx, "b"))
		return list{list{r.value(kv, "a") == "unknown", r.value(kv, "b") == "unknown"}, have(kv.Status(r.ctx)).Values()}
	}},
	{"kv_history", func(r *rig) any {
		kv := r.bucket(func(config *jetstream.KeyValueConfig) { config.History = 3 })
		for _, body := range []string{"1", "2", "3", "4"} {
			have(kv.PutString(r.ctx, "a", body))
		}
		found := list{}
		for _, entry := range have(kv.History(r.ctx, "a")) {
			found = append(found, list{string(entry.Value()), entry.Revision()})
		}
		return found
	}},
	{"kv_keys", func(r *rig) any {
		kv := r.bucket(nil)
		none, err := kv.Keys(r.ctx)
		if !errors.Is(err, jetstream.ErrNoKeysFound) {
			must(err)
		}
		for _, key := range []string{"b", "a", "c.d"} {
			have(kv.Put(r.ctx, key, nil))
		}
		must(kv.Delete(r.ctx, "b"))
		keys := have(kv.Keys(r.ctx))
		slices.Sort(keys)
		return list{append([]string{}, none...), keys}
	}},
	{"kv_watched", func(r *rig) any {
		kv := r.bucket(nil)
		have(kv.PutString(r.ctx, "a", "1"))
		watcher := have(kv.WatchAll(r.ctx))
		defer watcher.Stop()
		seen := list{}
		next := func() jetstream.KeyValueEntry {
			select {
			case entry := <-watcher.Updates():
				return entry
			case <-time.After(patience):
				panic("late")
			}
		}
		note := func() {
			entry := next()
			operation := map[jetstream.KeyValueOp]string{jetstream.KeyValuePut: "PUT", jetstream.KeyValueDelete: "DEL", jetstream.KeyValuePurge: "PURGE"}[entry.Operation()]
			seen = append(seen, list{entry.Key(), string(entry.Value()), operation})
		}
		note()
		marker := next() == nil
		have(kv.PutString(r.ctx, "b", "2"))
		must(kv.Delete(r.ctx, "a"))
		note()
		note()
		return list{seen, marker}
	}},
	{"kv_status", func(r *rig) any {
		kv := r.bucket(func(config *jetstream.KeyValueConfig) { config.History, config.TTL = 7, time.Minute })
		have(kv.PutString(r.ctx, "a", "1"))
		status := have(kv.Status(r.ctx))
		return list{status.Values(), status.History(), status.TTL().Seconds()}
	}},
	{"kv_unknown_bucket", func(r *rig) any {
		if _, err := r.js.KeyValue(r.ctx, "no_such_bucket"); errors.Is(err, jetstream.ErrBucketNotFound) {
			return "unknown"
		}
		return "there"
	}},
	{"kv_key_with_a_life_of_its_own", func(r *rig) any {
		kv := r.bucket(func(config *jetstream.KeyValueConfig) { config.LimitMarkerTTL = time.Minute })
		have(kv.Create(r.ctx, "a", []byte("1"), jetstream.KeyTTL(time.Second)))
		before := r.value(kv, "a")
		until(func() bool { return r.value(kv, "a") == "unknown" })
		return list{before, r.value(kv, "a")}
	}},
	{"object_stored", func(r *rig) any {
		objects := r.store()
		body := make([]byte, 256*2000)
		for at := range body {
			body[at] = byte(at)
		}
		info := have(objects.PutBytes(r.ctx, "thing", body))
		return object{"same": bytes.Equal(have(objects.GetBytes(r.ctx, "thing")), body), "size": info.Size, "chunks": info.Chunks, "digest": info.Digest}
	}},
	{"object_replaced_and_deleted", func(r *rig) any {
		objects := r.store()
		have(objects.PutString(r.ctx, "thing", "first"))
		have(objects.PutString(r.ctx, "thing", "second"))
		second := have(objects.GetString(r.ctx, "thing"))
		have(objects.PutString(r.ctx, "other", "x"))
		before := names(have(objects.List(r.ctx)))
		must(objects.Delete(r.ctx, "thing"))
		return list{second, before, names(have(objects.List(r.ctx)))}
	}},
	{"object_linked_and_renamed", func(r *rig) any {
		objects := r.store()
		info := have(objects.PutString(r.ctx, "thing", "body"))
		have(objects.AddLink(r.ctx, "link", info))
		must(objects.UpdateMeta(r.ctx, "thing", jetstream.ObjectMeta{Name: "renamed", Description: "new"}))
		found := have(objects.GetInfo(r.ctx, "renamed"))
		return list{found.Description, have(objects.GetString(r.ctx, "renamed")), names(have(objects.List(r.ctx)))}
	}},
}
