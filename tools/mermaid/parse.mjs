// Parses every Mermaid diagram in the Markdown files that are given, with Mermaid itself and
// without a browser, and fails if one does not parse or there is none.
import { readFileSync } from 'node:fs'
import { JSDOM } from 'jsdom'

const page = new JSDOM('')
globalThis.window = page.window
globalThis.document = page.window.document
const { default: mermaid } = await import('mermaid') // looks for a document when it is loaded

let parsed = 0
for (const file of process.argv.slice(2)) {
  for (const [, diagram] of readFileSync(file, 'utf8').matchAll(/^```mermaid\n([\s\S]*?)\n```$/gm)) {
    try {
      await mermaid.parse(diagram)
      parsed++
    } catch (error) {
      console.error(`${file}: ${error.message}`)
      process.exitCode = 1
    }
  }
}
console.log(`${parsed} diagrams parse`)
if (parsed === 0) process.exitCode = 1
