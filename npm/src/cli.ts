#!/usr/bin/env node
/**
 * The command `kez`: the same one as the native binary, with Node under it.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import * as glue from './cli-glue/kez_wasm.js'
import { machine } from './machine.js'
import { webSocket } from './node-websocket.js'
import { drive } from './task.js'

glue.initSync({ module: readFileSync(new URL('./kez-cli.wasm', import.meta.url)) })
const node = machine(glue.isPublicAddress, await webSocket())

/** Ends as a defect: what the command holds cannot be trusted any more. */
function broken(error: unknown): never {
  process.stderr.write(`kez: error: a defect of kez, please report it: ${String(error)}\n`)
  process.exit(70)
}

const words = ['kez', ...process.argv.slice(2)]
const { done } = drive((wake) => glue.run(words, node, wake), (work) => work())
done.then((code) => process.exit(Number(code)), broken)
